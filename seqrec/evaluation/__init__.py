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
from seqrec.evaluation.metrics import CUTOFFS, cutoffs_within, rank_histogram, rank_metrics
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
    "Group",
    "ItemKNN",
    "MatrixFactorisation",
    "MetricValue",
    "PairedDifference",
    "Popular",
    "RankHistogram",
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
    "evaluation_table",
    "fit_baselines",
    "make_group",
    "popular_recent",
    "rank_histogram",
    "rank_metrics",
    "rank_users",
    "ranking_trainer",
    "seen_lists",
    "write_comparison",
    "write_report",
]
