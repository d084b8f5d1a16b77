"""Attention from words to regions (section 2.4, figure 6): maps, rollout, agreement of languages, pointing."""
