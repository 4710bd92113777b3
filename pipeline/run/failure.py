"""The record of a slide that failed: what is known of it, one line of reason."""

import shutil

from pipeline import RESULTS_VERSION, __version__
from pipeline.config import WITHOUT_RESULTS, RunConfig, digest
from pipeline.io.results import DONE_NAME, SCORE_NAME, write_done, write_score
from pipeline.io.score import Provenance, ScoreRecord, SlideIdentity
from pipeline.model.card import ModelCard
from pipeline.run.job import CONTENT_PART, CellRule, SlideJob
from pipeline.run.made import made_by
from pipeline.run.plan import StaleWorkError, read_plan, read_work, utc_now, work_folder


def record_failure(
    job: SlideJob, card: ModelCard, reason: str, *, retry_next_run: bool
) -> ScoreRecord:
    """Write score.json of a failed slide, and unless the next run should try again its done mark.

    Results of an earlier run that were not touched stay: a slide that cannot be reached today
    is no reason to lose them.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    work = work_folder(job.folder)
    begun = read_work(work)
    record = ScoreRecord(
        slide=_identity(job, None if begun is None else begun.key[CONTENT_PART]).model_copy(
            update={"group": job.group}
        ),
        status="failed",
        reason=reason,
        caveat=card.caveat,
        provenance=provenance(job, card, started=None),
    )
    if begun is None and (job.folder / DONE_NAME).exists():
        return record
    write_score(job.folder / SCORE_NAME, record)
    if begun is not None and not retry_next_run:
        made = made_by(job, None, begun.members)
        write_done(job.folder, begun.key | begun.score, made=made)
        shutil.rmtree(work)
    return record


def provenance(
    job: SlideJob, card: ModelCard, *, started: str | None, ended: str | None = None
) -> Provenance:
    """What made, or would have made, the numbers of a slide."""
    return Provenance(
        tool="ki67-pipeline",
        version=__version__,
        results_version=RESULTS_VERSION,
        weights=card.name,
        weights_sha256=job.weights_sha256,
        config_sha256=_settings_digest(job.config),
        threshold=CellRule.of(job.config, card).threshold,
        engine=card.engine(job.config.prediction.engine),
        device=job.config.prediction.device,
        dtype=job.config.prediction.dtype,
        started=started,
        ended=ended or utc_now(),
        research_use_only=card.research_use_only,
    )


def _settings_digest(config: RunConfig) -> str:
    """Digest what can change results; the slide's own region has a digest of its own."""
    roi = config.roi.model_copy(update={"file": None})
    plain = config.model_copy(update={"roi": roi})
    return digest(plain.model_dump(mode="json", exclude=set(WITHOUT_RESULTS)))


def _identity(job: SlideJob, content: str | None) -> SlideIdentity:
    try:
        slide = read_plan(work_folder(job.folder)).slide
    except StaleWorkError:
        return SlideIdentity(id=job.slide_id, name=job.name, fingerprint=content)
    return slide.identity(job.slide_id)
