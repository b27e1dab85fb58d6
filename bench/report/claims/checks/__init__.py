"""Ready-made checks of claims, for plugins too: each takes the claim's numbers and gives a function of the evidence.

A check is a pure function of Evidence, which changes nothing.
"""

from bench.report.claims.checks.answers import Check as Check
from bench.report.claims.checks.answers import each as each
from bench.report.claims.checks.answers import lacks as lacks
from bench.report.claims.checks.counted import LAYERS_ONLY as LAYERS_ONLY
from bench.report.claims.checks.counted import computes_less as computes_less
from bench.report.claims.checks.counted import counts_are as counts_are
from bench.report.claims.checks.counted import saves_by_a_count as saves_by_a_count
from bench.report.claims.checks.timed import steps_take_longer as steps_take_longer
from bench.report.claims.checks.trained import is_more_accurate as is_more_accurate
from bench.report.claims.checks.trained import loses_no_accuracy as loses_no_accuracy
from bench.report.claims.checks.trained import reaches as reaches
from bench.report.claims.checks.trained import trains as trains
from bench.report.claims.checks.trained import trains_less_and_is_better as trains_less_and_is_better
