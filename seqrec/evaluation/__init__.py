"""Metrics with intervals, the baselines that stand beside every model, and reports."""

from seqrec.evaluation.baselines import (
    BASELINES,
    DEFAULT_BASELINES,
    Baseline,
    BaselineName,
    ItemKNN,
    MatrixFactorisation,
    Popular,
    fit_baselines,
    popular_recent,
)
from seqrec.evaluation.charts import CurvePoint
from seqrec.evaluation.comparison import ComparedRun, Comparison, Group, make_group
from seqrec.evaluation.comparison_report import write_comparison
from seqrec.evaluation.evaluate import categories, evaluate
from seqrec.evaluation.following import FollowedLists, following_metrics, lists_and_what_followed
from seqrec.evaluation.metrics import CUTOFFS, cutoffs_within, rank_histogram, rank_metrics
from seqrec.evaluation.outcome_metrics import Predictions, ReliabilityBin, outcome_metrics, reliability
from seqrec.evaluation.outcomes import Judged, OutcomeHistogram, OutcomeResult, evaluate_outcomes, judge
from seqrec.evaluation.report import Report, ReportItem, ReportUser, write_report
from seqrec.evaluation.results import EvaluationResult, MetricValue, PairedDifference, SliceResult, UserCounts
from seqrec.evaluation.table import comparison_table, evaluation_table
from seqrec.evaluation.tally import Tally
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.evaluation.users import rank_users, seen_lists
from seqrec.evaluation.validation import RankHistogram

__all__ = [
    "BASELINES",
    "CUTOFFS",
    "DEFAULT_BASELINES",
    "Baseline",
    "BaselineName",
    "ComparedRun",
    "Comparison",
    "CurvePoint",
    "EvaluationResult",
    "FollowedLists",
    "Group",
    "ItemKNN",
    "Judged",
    "MatrixFactorisation",
    "MetricValue",
    "OutcomeHistogram",
    "OutcomeResult",
    "PairedDifference",
    "Popular",
    "Predictions",
    "RankHistogram",
    "ReliabilityBin",
    "Report",
    "ReportItem",
    "ReportUser",
    "SliceResult",
    "Tally",
    "UserCounts",
    "categories",
    "comparison_table",
    "cutoffs_within",
    "evaluate",
    "evaluate_outcomes",
    "evaluation_table",
    "fit_baselines",
    "following_metrics",
    "judge",
    "lists_and_what_followed",
    "make_group",
    "outcome_metrics",
    "popular_recent",
    "rank_histogram",
    "rank_metrics",
    "rank_users",
    "ranking_trainer",
    "reliability",
    "seen_lists",
    "write_comparison",
    "write_report",
]
