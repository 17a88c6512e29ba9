"""Metrics with intervals, the baselines that stand beside every model, and reports."""

from seqrec.evaluation.baselines import ItemKNN, Popular
from seqrec.evaluation.charts import CurvePoint
from seqrec.evaluation.evaluate import evaluate
from seqrec.evaluation.metrics import CUTOFFS, cutoffs_within, rank_histogram, rank_metrics
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
    "ItemKNN",
    "MetricValue",
    "Popular",
    "RankHistogram",
    "Report",
    "ReportItem",
    "ReportUser",
    "Tally",
    "UserCounts",
    "cutoffs_within",
    "evaluate",
    "evaluation_table",
    "rank_histogram",
    "rank_metrics",
    "rank_users",
    "ranking_trainer",
    "seen_lists",
    "write_report",
]
