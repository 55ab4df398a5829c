"""Who is signed in, and what that person may see."""
