"""The theorems: lengths that suffice for misalignment, in the paper's form and sharp, and one that does not."""

from beb.core.bounds.appendix_i import relaxed
from beb.core.bounds.arguments import ARGUMENTS, ELIMINATED, Argument
from beb.core.bounds.assumptions import PREMISES, Assumption, Premise, Status, assess
from beb.core.bounds.converse_limit import converse
from beb.core.bounds.propagation import PropagatedBound, propagate
from beb.core.bounds.record import Bound
from beb.core.bounds.required import paper_log_ratio, required_log_ratio
from beb.core.bounds.theorem1 import single_prompt
from beb.core.bounds.theorem2 import after_prefix
from beb.core.bounds.theorem3 import conversation
from beb.core.bounds.theorem4 import best_of_n, required_log_ratio_best_of_n, worst_gamma_n
from beb.core.bounds.theorem5 import random_prompt

__all__ = [
    "ARGUMENTS",
    "ELIMINATED",
    "PREMISES",
    "Argument",
    "Assumption",
    "Bound",
    "Premise",
    "PropagatedBound",
    "Status",
    "after_prefix",
    "assess",
    "best_of_n",
    "conversation",
    "converse",
    "paper_log_ratio",
    "propagate",
    "random_prompt",
    "relaxed",
    "required_log_ratio",
    "required_log_ratio_best_of_n",
    "single_prompt",
    "worst_gamma_n",
]
