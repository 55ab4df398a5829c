"""The tests, by level: unit, property, integration, db, browser, chaos."""
