"""Mutation testing: are the tests of the rules and facts so sharp that a small wrong change makes one of them fail?"""
