from causerie.embedded import Causerie

__all__ = ["Causerie"]
