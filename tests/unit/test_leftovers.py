"""What a sandbox has left behind, as the kernel's tables tell."""

from lablib.grading.leftovers import Leftover, parse_system_v

# /proc/sysvipc of Linux 6.18, after `ipcmk -M 4096` and `ipcmk -S 3`.
SHM = """\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
1494120942    1474597   644                  4096   584     0      0     0     0     0     0          0          0 1795450896                     0                     0
"""  # noqa: E501
SEM = """\
       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
2094865590         20   644          3     0     0     0     0          0 1795450896
"""
MSG = """\
       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime
"""  # noqa: E501


def test_all_that_the_kernels_tables_list_is_left_over():
    assert parse_system_v({"shm": SHM, "sem": SEM, "msg": MSG}) == [
        Leftover("System V segment 1474597", 4096),
        Leftover("System V semaphore set 20", 0),
    ]
