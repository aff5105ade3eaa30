"""What happens to a message: fetch, validate, submit and pickup, and what they share.

The four stages (`stages.fetch`, `stages.validate`, `stages.submit`, `stages.pickup`) never import one another; they
meet in the spool alone. `stages.pop3`, `stages.smtp`, `stages.mail` and the modules beside this file serve all of
them.
"""
