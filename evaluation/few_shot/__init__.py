"""Few-shot classification: floors without a network, statistics over draws, and a test of colour knowledge."""
