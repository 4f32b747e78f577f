"""What makes two texts the same, or nearly: for datatrove's exact and MinHash deduplication."""

from collections.abc import Iterator

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from modeling_bilma.tokenization_bilma import normalize

# Characters of a shingle. Tweets are too short for shingles of words: one changed word changes a third of them.
SHINGLE = 5
# Two texts are compared if all hashes of a bucket agree: half of the pairs with (1/14)^(1/8) = 0.72 of their shingles
# in common are found, and nine in ten of those with 0.8.
MINHASH = MinhashConfig(n_grams=SHINGLE, num_buckets=14, hashes_per_bucket=8)


def seen_text(doc: Document) -> bytes:
    """Return what a model sees of a text: duplicates may differ in case, accents and addresses of links."""
    return normalize(doc.text).strip().encode()


def seen_text_and_region(doc: Document) -> bytes:
    """Return the same with the region, so that texts of two regions are never duplicates."""
    return f"{doc.metadata['region']}\0{normalize(doc.text).strip()}".encode()


def exact_config(within_regions: bool) -> ExactDedupConfig:
    """Return what counts as an exact duplicate; of several the first dump's is kept, within a dump the first."""
    return ExactDedupConfig(content_getter=seen_text_and_region if within_regions else seen_text)


class NearSignatures(MinhashDedupSignature):
    """MinHash signatures over the characters that a model sees.

    Args:
        within_regions: texts of two regions are never near-duplicates.
    """

    type = "duplicates"
    name = "signatures"

    def __init__(self, output_folder: str, within_regions: bool):
        super().__init__(output_folder, MINHASH, language=WhitespaceTokenizer())
        self.within_regions = within_regions
        self.region = ""  # of the document whose shingles are taken next

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> None:
        """Write the signatures of a shard."""
        super().run(self._noting_regions(data), rank, world_size)

    def _noting_regions(self, data: Iterator[Document]) -> Iterator[Document]:
        for doc in data:
            self.region = doc.metadata["region"] if self.within_regions else ""
            yield doc

    def get_shingles(self, text: str) -> np.ndarray:
        """Return the hashed shingles of a text, (number of shingles, 1) uint64; a shorter text is one shingle."""
        seen = normalize(text).strip()
        starts = range(max(1, len(seen) - SHINGLE + 1))
        # As bytes: from its version 4 on xxhash takes no strings.
        shingles = [self._hash_func((self.region + seen[start : start + SHINGLE]).encode()) for start in starts]
        return np.array(shingles, dtype=np.uint64).reshape(-1, 1)
