"""A city that lives through the public API alone: customers, store staff, riders, operations."""
