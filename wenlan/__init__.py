"""wenlan"""
