"""Zicht op: from slow, uneven government deliveries to indicator tables that disclose nobody."""

__version__ = "0.1.0"
