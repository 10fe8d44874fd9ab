"""driveprep prepares NTFS drives for AWS Import/Export (Disk) export jobs.

Imports only point down; packages on one line do not know each other. `lint-imports` checks it.

     8  __main__
     7  cli/            the commands, what they print, exit codes
     6  service/        the main loop: wait, scan, choose jobs, start workers, report
     5  preparation/    one job's path: intake,       config/   config.yml as typed values
                        submit, reconcile, sign,
                        poll, papers
     4  jobs/           manifest/      spool/         drives/           importexport/
        states,         rules,         pending/,      identity, checks, the service's API,
        journal         text to send   filing         SIGNATURE         client and emulator
     3  documents/      YAML and lists with positions; new values; typed fields; faults
     2  system/         durable files, programs, watching, systemd, logs, safe text
     1  errors.py       every error, by who has to act

The way of one job:

      drop ---> spool ---> manifest ---> jobs       the packages of layer 4 meet in
                    \\         |           ^         preparation only
      mount --> drives --> preparation ---+
                               |          v
                               +--> importexport --> jobs --> drives (SIGNATURE) --> jobs --> spool

Two packages are planned: `board` (a web page; between cli and service) and `pool` (several
stations; below preparation).
"""
