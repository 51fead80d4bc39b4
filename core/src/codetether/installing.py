"""How a missing distribution is asked for. Imports nothing: lists and help use it on a bare interpreter."""


def install_hint(*distributions: str) -> str:
    """What to do when `distributions` of CodeTether are missing. By name alone an index may hand out a stranger's of the
    same name, so no command is given that asks one; README.md has those that do not.
    """
    names = " ".join(distributions)
    return f"install {names} from where your CodeTether came from, not by name from an index; in a checkout: uv sync"
