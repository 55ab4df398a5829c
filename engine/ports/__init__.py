"""What the services need from outside, in the words of the domain."""
