"""Zero-shot classification and the protocol of emoji7."""
