from __future__ import annotations

import check_sass
import pytest

LISTING = """
	code for sm_90
		Function : _Z6kernelILi8EE
	.headerflags	@"EF_CUDA_TEXMODE_UNIFIED"
        /*0000*/                   LDC R1, c[0x0][0x28] ;             /* 0x00000a00ff017b82 */
        /*0010*/             @!P0 LDG.E.128.CONSTANT R8, desc[UR4][R2.64] ;
        /*0020*/                   CS2R R14, SRZ ;
        /*0030*/              @P1 LDG.E.128.CONSTANT R12, desc[UR4][R4.64+0x10] ;
        /*0040*/                   IMAD.U32 R20, R9, 0x10000, RZ ;
        /*0050*/                   LDG.E.128 R24, desc[UR4][R6.64] ;
        /*0060*/                   STG.E.128 desc[UR4][R2.64], R24 ;
        /*0070*/                   EXIT ;
		..........
"""


def problems(listing: str, loads: int = 0, wanted: tuple[str, ...] = ()) -> list[str]:
    ((name, code),) = check_sass.kernels_of(listing).items()
    assert name == "sm_90 _Z6kernelILi8EE"
    return check_sass.problems_of(code, loads, list(wanted))


def test_loads_are_together_until_one_is_used():
    assert problems(LISTING, loads=2) == []
    assert problems(LISTING, loads=3) == ["expected 3 loads of 16 bytes before the first use of one, got 2"]
    later = LISTING.replace("R20, R9,", "R20, R7,")
    assert problems(later, loads=3) == []


@pytest.mark.parametrize("instruction", ["STG.E desc[UR4][R2.64], R15", "@P0 FADD R0, R0, R11", "MOV R8, R10"])
def test_what_counts_as_a_use(instruction):
    used = LISTING.replace("CS2R R14, SRZ", instruction).replace("R20, R9,", "R20, R7,")
    first = instruction.startswith("STG")  # R15 is loaded later
    assert (problems(used, loads=3) == []) == first


def test_instructions_and_spills():
    assert problems(LISTING, wanted=("LDG", "STG")) == []
    assert problems(LISTING, wanted=("LDG", "HMMA")) == ["expected the instructions LDG, HMMA, got none of HMMA"]
    assert problems(LISTING.replace("IMAD.U32", "STL.64")) == ["registers are spilled to local memory"]
