"""Verdicts on posteriors: is the guide right, and what does it miss?"""
