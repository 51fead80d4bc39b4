"""Every way to write or wrap an address that is not public is found; public ones pass."""

from __future__ import annotations

import ipaddress

import pytest
from codetether_web import refusal
from hypothesis import given
from hypothesis import strategies as st

FORBIDDEN = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "100.100.100.200", "192.0.0.192", "192.0.0.8", "192.88.99.1", "168.63.129.16", "198.18.0.1",
    "192.0.2.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8.8", "fe80::1",
    "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:a9fe:a9fe::1", "2002:7f00:1::",
    "2001:0:7f00:1::", "2001:0:808:808:0:0:5601:5601", "", "localhost", "1.1.1.1.", "0x7f.1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001::200e",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_refused(address):
    assert refusal(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert refusal(address) == ""


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_judged_by_what_is_inside(inner):
    bits = int(inner)
    wrapped = [
        ipaddress.IPv6Address((0xFFFF << 32) | bits),
        ipaddress.IPv6Address((0x64FF9B << 96) | bits),
        ipaddress.IPv6Address((0x2002 << 112) | (bits << 80)),
    ]
    assert {refusal(str(address)) for address in wrapped} == {refusal(str(inner))}


@given(st.ip_addresses())
def test_what_passes_is_global_and_unicast(address):
    if not refusal(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_loopback
