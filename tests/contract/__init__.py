"""The real SDKs over our transports, under every fault: one law for all of them (`oracle`)."""
