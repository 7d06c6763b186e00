"""Objectives of one datum at a time: penalties of its code, and data that are spoiled first."""
