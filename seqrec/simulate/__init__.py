"""Made-up behaviour logs with a known best possible result, for the demo and the tests."""

from seqrec.simulate.behaviour import Action
from seqrec.simulate.catalogue import ShopCatalogue
from seqrec.simulate.files import ShopFiles, read_oracle, write_shop
from seqrec.simulate.oracle import OracleRanks, oracle_metrics
from seqrec.simulate.settings import ShopSettings
from seqrec.simulate.shop import ShopLog, simulate_shop

__all__ = [
    "Action",
    "OracleRanks",
    "ShopCatalogue",
    "ShopFiles",
    "ShopLog",
    "ShopSettings",
    "oracle_metrics",
    "read_oracle",
    "simulate_shop",
    "write_shop",
]
