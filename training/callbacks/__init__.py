"""Trainer callbacks that every task shares."""
