"""The data sets of the studies and their recipes. They are drawn from a seed or made from real data."""

from locomt.studies.datasets import demo_clips, digits, grounding, moments, mosi, qa, ring, temporal
from locomt.studies.datasets.data_set import DataSet, DataSetError

__all__ = ["DATA_SETS", "DataSet", "DataSetError"]

DATA_SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        qa.DATA_SET,
        grounding.DATA_SET,
        moments.DATA_SET,
        *ring.DATA_SETS,
        temporal.DATA_SET,
        temporal.TONES,
        digits.DATA_SET,
        mosi.DATA_SET,
        demo_clips.DATA_SET,
    )
}
