"""What can go wrong, as sentences that a student understands.

The tree:

    LabError                     anything that the lab can't do; `fix` says what to do about it
    ├── TargetError              the process to trace: gone, not yours, not traceable
    ├── ProcessError             reading a process in /proc: gone, or not permitted
    ├── TracerError              the tracer service: not running, another version, refused
    │   └── TracerBusyError      it has as many sessions as it takes; some may be about to end
    ├── AppError                 building or running one of the lab's programs
    ├── DockerError              the Docker engine, an image or a container
    ├── PrivilegeError           what needs root, where there is neither root nor sudo
    ├── ToolMissingError         a program or a package that is not on this machine
    ├── RecordingError           a saved session that can't be written or read
    └── GradingError             a submission, or a lab, that can't be judged here
"""

from __future__ import annotations

from lablib.language import say, term


class LabError(Exception):
    """Something that the lab could not do.

    `message` says what failed; `fix` is the command or the step that mends it, or "". Both are
    English; made by `term`, they are said in the reader's language.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        """One line in the reader's language: what failed, then what to do."""
        return say(self.sentence)

    @property
    def sentence(self) -> str:
        """The same as a `term`: for what keeps it, and is read in whichever language."""
        if not self.fix:
            return self.message
        return term("{reason}; {fix}", reason=self.message, fix=self.fix)


class TargetError(LabError):
    """The process to trace is gone, belongs to somebody else, or can't be traced."""


class ProcessError(LabError):
    """A process's files in /proc can't be read: it is gone, or belongs to somebody else."""


class TracerError(LabError):
    """The tracer service does not run, is another version, or refused."""


class TracerBusyError(TracerError):
    """The tracer service has as many sessions as it takes, of one user or of all together."""


class AppError(LabError):
    """One of the lab's own programs could not be built or run."""


class DockerError(LabError):
    """The Docker engine, an image or a container is not there or does not work."""


class PrivilegeError(LabError):
    """Something needs root's rights, and they can't be had."""


class ToolMissingError(LabError):
    """A program or a package is not installed on this machine."""


class RecordingError(LabError):
    """A saved session could not be written or read."""


class GradingError(LabError):
    """A submission can't be judged: it is not there, or this machine can't run it safely."""
