"""Metrics with intervals, the baselines that stand beside every model, and reports."""

from seqrec.evaluation.baselines import ItemKNN, Popular
from seqrec.evaluation.charts import CurvePoint
from seqrec.evaluation.evaluate import evaluate
from seqrec.evaluation.following import FollowedLists, following_metrics, lists_and_what_followed
from seqrec.evaluation.metrics import CUTOFFS, cutoffs_within, rank_histogram, rank_metrics
from seqrec.evaluation.outcome_metrics import Predictions, ReliabilityBin, outcome_metrics, reliability
from seqrec.evaluation.outcomes import Judged, OutcomeHistogram, OutcomeResult, evaluate_outcomes, judge
from seqrec.evaluation.report import Report, ReportItem, ReportUser, write_report
from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts
from seqrec.evaluation.table import evaluation_table
from seqrec.evaluation.tally import Tally
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.evaluation.users import rank_users, seen_lists
from seqrec.evaluation.validation import RankHistogram

__all__ = [
    "CUTOFFS",
    "CurvePoint",
    "EvaluationResult",
    "FollowedLists",
    "ItemKNN",
    "Judged",
    "MetricValue",
    "OutcomeHistogram",
    "OutcomeResult",
    "Popular",
    "Predictions",
    "RankHistogram",
    "ReliabilityBin",
    "Report",
    "ReportItem",
    "ReportUser",
    "Tally",
    "UserCounts",
    "cutoffs_within",
    "evaluate",
    "evaluate_outcomes",
    "evaluation_table",
    "following_metrics",
    "judge",
    "lists_and_what_followed",
    "outcome_metrics",
    "rank_histogram",
    "rank_metrics",
    "rank_users",
    "ranking_trainer",
    "reliability",
    "seen_lists",
    "write_report",
]
