"""A packing slip's values, and texts that attack the page it is printed on."""

from daemon.preparation.papers.packing_slip import Contact, Slip

RETURN_ADDRESS = {
    "name": "Maria Jensen",
    "company": "Fjord Archive AS",
    "street1": "Dokkveien 12",
    "street2": "Building C, dock 4",
    "city": "Bergen",
    "stateOrProvince": "Vestland",
    "postalCode": "02142",
    "phoneNumber": "+47 55 12 34 56",
    "country": "Norway",
}
SLIP = Slip(
    job_id="K7M3X",
    device_id="HD001",
    file_system="NTFS",
    drive={
        "deviceNode": "/dev/sdb1",
        "label": "HD001-label",
        "serial": "WD-WX11A1234567",
        "uuid": "4E21F0A85C0B7D3E",
        "model": "WD Elements 25A2",
        "size": 2_000_398_934_016,
    },
    shipping_address="AWS Import/Export\nJOBID K7M3X\n2646 Rainier Ave South\nSeattle, WA 98144",
    return_address=RETURN_ADDRESS,
    contact=Contact("Maria Jensen", "+47 55 12 34 56", "maria@fjord-archive.example"),
    submitted_at=1_788_900_000,  # 2026-09-08T20:40:00Z
    expires_at=1_788_900_000 + 30 * 24 * 3600,
    manifest_name="HD001-photos.yml",
    station="bench-1",
    warning="**** Device will be erased before being returned. ****",
)
ATTACKS = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</title></style></svg></div>",
    "<!--",
    "]]>",
    "&lt;b&gt;&#60;",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "expression(1);}*{display:none",
)
