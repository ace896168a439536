"""What a shell completes: the words of the commands, and the names in params.yaml of the folder that one stands in."""

import argparse

EXPERIMENT = {"bash": "_pslcore_experiments", "zsh": "_pslcore_experiments"}
SCALE = {"bash": "_pslcore_scales", "zsh": "_pslcore_scales"}
DEVICE = {"bash": "_pslcore_devices", "zsh": "_pslcore_devices"}
FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
FOLDER = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}

# In params.yaml a scale stands two spaces in, an experiment four.
_READ = r"""$(sed -n 's/^ \{%d\}\([A-Za-z0-9_.-]*\):.*/\1/p' params.yaml 2>/dev/null | grep -vx base | sort -u)"""
_PREAMBLE = {
    "bash": f"""
_pslcore_scales() {{ compgen -W "{_READ % 2}" -- "$1"; }}
_pslcore_experiments() {{ compgen -W "{_READ % 4}" -- "$1"; }}
_pslcore_devices() {{ compgen -W "auto cpu cuda" -- "$1"; }}
""",
    "zsh": f"""
_pslcore_scales() {{ local -a found; found=({_READ % 2}); _describe scale found; }}
_pslcore_experiments() {{ local -a found; found=({_READ % 4}); _describe experiment found; }}
_pslcore_devices() {{ local -a found; found=(auto cpu cuda); _describe device found; }}
""",
}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What makes a shell complete a parser's words; an action's ``complete`` is one of the dictionaries above.

    Raises
    ------
    ValueError
        If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise ValueError("completion needs shtab, which is not installed here: pip install shtab.") from None
    return shtab.complete(parser, shell, preamble=_PREAMBLE.get(shell, ""))
