"""The fire drill: a simulated Claude API and a simulated Bedrock on loopback, and what to do to them.

The simulators are as strict as the real services are known to be: what the wire facts say is
refused is refused here too, in the same words. They know nothing of the product's own rules
(no translation, no tables, no policy is imported), so that agreement between the two means something.
"""
