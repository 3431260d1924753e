"""The report on an inspection: facts with ids, sentences that rest on them, and the check that holds one to the other.

The template writes it. Where the settings name a server of a language model, that may rephrase it; what does not pass
the check is dropped, and the template stays.
"""
