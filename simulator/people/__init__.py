"""Those who use the service: customers, store staff, riders, operations. Public API only."""
