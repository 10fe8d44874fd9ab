"""What blkid prints and udev knows about an NTFS partition and its disk."""

BLKID = rb"""ID_FS_LABEL=AWS_"x"_01
ID_FS_LABEL_ENC=AWS\x20\x22x\x22\x2001
ID_FS_UUID=4070AA412A6EC482
ID_FS_UUID_ENC=4070AA412A6EC482
ID_FS_TYPE=ntfs
ID_PART_ENTRY_UUID=6f4e0f4c-01
"""
UDEV = {"SUBSYSTEM": "block", "DEVNAME": "/dev/sdb1"}
DISK = {"ID_SERIAL_SHORT": "WX11", "ID_SERIAL": "WD_WX11", "ID_WWN": "0x5001"}
NTFS = {"ID_FS_TYPE": "ntfs", "ID_FS_LABEL": "A_B", "ID_FS_LABEL_ENC": r"A\x20B"}
