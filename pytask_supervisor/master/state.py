"""``MasterState``: what the whole master goes by; each field has one writer."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytask_supervisor.config.options import SupervisorConfig


@dataclass
class MasterState:
    """Every part may read it.

    ================ ================== ==========================================================
    field            its one writer     meaning
    ================ ================== ==========================================================
    ``tried``        ``reloads``        the configuration that the next worker is given
    ``proven``       ``reloads``        the one with which some worker got ready, to which a failed reload returns
    ``is_quiet``     ``Commands``       whether workers are to claim nothing for now
    ``is_stopping``  ``Shutdown``       whether all are to leave, and nothing is started any more
    ``embedded_url`` ``EmbeddedServer`` the address of the embedded server, once it is known
    ================ ================== ==========================================================
    """

    tried: SupervisorConfig
    proven: SupervisorConfig = field(init=False)
    is_quiet: bool = False
    is_stopping: bool = False
    embedded_url: str | None = None

    def __post_init__(self) -> None:
        self.proven = self.tried

    def redis_url(self, config: SupervisorConfig) -> str | None:
        """Where workers with that configuration find Redis."""
        return self.embedded_url or config.redis
