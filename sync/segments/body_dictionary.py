"""What short bodies have in common, so that they need not carry it: names, units, their skeleton.

Sample bodies of taps, readings, device events and health checks, as zstd raw content. It is part
of the wire: a frame that refers to it opens with these bytes only, so they never change. A frame
that does not opens with them as well.
"""

import base64
from typing import Final

BODY_DICTIONARY: Final = base64.b85decode(
    "k(CSq0h0j0%~JJ~k^z$dz|Q~x0ieWCbD)v}lK{Y{ZEs{^b#pqB1Cs#2rf+U+X>Mhal@|d4lK{ZYgffzn0h0j0&j0`cpu|w@r"
    "IG@Z0Km=w^NTQ%l?(v`mI1)c$+rOj!~m0$0hR&4&j0`cpu|velFbfF0>lIWp#Th$0+Rs1r)_U!Vs&#mk^_?lz>}tLZft38Wv"
    "6duW^8G0WvOFtZf<2`bY*0bl@|d6mI1)ce%Ap2!~l|#0hR&4&j0`cpu|xAl+BDj0>lIWY5+@;0+j;5&H%dvn*+oN0Na`X$es"
    "WT36Yfz0RfW$z|Bgumy!XK0Km@x00E%HP<vdG0+Rs1r)_U!Vs&#mk^_?fz@uYtGLi(70Km&YAZBJ}W@cuR1(N{4roy#TFJo<"
    "z29p55q-Sq$WReGy0KlwmZ)9S1b09BdWp*!-"
    "l??#~mI1)cZWRFl!~mC)0hR&4&j0`cpu|vxZOsrF0>lacD7*f~00ssJ5Rw9w1;CT0b8l&EEi$KVZ)9S1b2_DAX>u(w0mKFX0"
    "RRF40Fncf2Edl1V{bC8b8l&EUu|z`b98lbWvz2>X>4C@Z)tOMb#i5^X>4qDZE0>{ZewMrXmxFAWNCDHqhoI}k_46mzyTQo#0"
    "(<<OTJ)R0RRI60RfT)lLo++qr$L5roy#TFJo<^!mvZ8!nIQ`V{M{rc%dbd29p55q-"
    "Sq$WReG!1;CP~Z*F#JW+1F>Z)9S1b09BdWp*zC#0CHW0RR92k(CVr6qW(N%??rl0K@>7k^z<hz|Q~x0ieWCf3eJ%0>mbLhz}"
    "wlUqGM$hXB0by>c@Sd`2Q49vK@95)c3Z2^=6E77P#`9g+f-"
    "1;CT0b8l&EEi$EHX>u(wr)_U!Vs&#m0mKvl0RaF20s#R50s#O3009940RRD#1C<59m8*1RZE$6BVRUtJWvz2>X>4C@Z)tOMb"
    "#i5^X>4qDZE0>{ZewMrXmxFAWNCDHqhoI}0mKvl0RjO40|EmA000021OxyC0|Nk(1eOE90R;lYD0V3PD$Wh30)=Rq06U{lM-"
    "H#YYytoR0s{d80|Eg6009C50s{jB1Cj-"
    "m1;CW1!nIQ`V{M{rc%#CwL!l)B#1sGk0RR930|NpA000930|Ed50RWN)lK{Y^XK!z0k_VLqz>=nKZgy#AAgpa~WMXx5ATMNP"
    "b}s?M6aWDM009620099200032009920g;sy0RfW$z|F=il#&6H0Km@x00E%HP`<j70+Rs1u47?xWIAPTbaG*CV`VLp1Cs#2&"
    "H!3?oRS2S0KlnbZgg^CZewLFk(Cqy1C{~6%^*Gj0K@>4k^z<hz|Q~x0ieWCsPD}w^#a5M0C4~<k^++kz>}+EVRB?TV{Bn_b1"
    "kc5VRB?TV{Bn_b1kZ4VRB?Ta&K>KEs_J30>I7yO}%de#0dcS8vuT~03`*I1d|59lcr;AVRLgWrekbjb8{`Fa&K>KEs>QJ0S1"
    "-<z|D<I0RY4Rl#&6K0l?1y00E%HP`9tm8h--B3IqTGOOYr59W@Y=0+j{8ldfZ7a%4JXZgg^CZewLFs$*etWIA$hZ*48BV_|Y"
    "+I%8~Mb8{^L#0CHW0RaL6k^_|jz|H^>%TEKu626`L!WsanS?}gC0Aq(Ko1_4e1eFEAlc{BHbaG*CV`VL+a&K>KEv92^VRLgW"
    "0mKFX009940+E#z0S=Y{z|BOR0RY4Rl#&6K0l?1y00E%HP{Q8L0-plJ8omJO1~y^pU5exa=>%;64NyTDVQxQf4-"
    "rz50+j{8ldfZ7a%4JXZgg^CZewLFt7BnuWIAJPVRLgWs$*etWIA$hZ*46B#0~%f0RjO50s;X50s#O5k^_|jz|H^^BK!lyD)t"
    "UAu?cLPM*wt<N4nDmd$O~^P~H^)_3O#;mBbrQF<5j}$^cC{8$%e91eFEAlc{BHbaG*CV`VL-"
    "V{Bn_b1kKEZ*Ofa0mKdf0RaL50RjR600IF30+E#z0UnkCz|9380RY4Rl#&6K0l?1y00E%HP_yvO3|IohI-TnRl3=qQPmj&fU"
    "O5|?VYB*m%c7;SY5;kaJ4j1BSvU^?Lr)hvQ#?@*JQ+I`Njd}oR}}y&2?0xz0+j{8ldfZ7a%4JXZgg^CZewLFt7BnuWIAJPVR"
    "LgWs$*etWIA$hZ*46B#2x?u0000100IC20RjR50RaI40RRF300II50RRC2k^_|jz|H^zjRgb5S`jj5b)%S=RmMfzZ$v@3RGP"
    "Zwm{rpNV1U~w{(XY$$fjS{@6W)hCAUri($Dn%{KGl~ivZL`SsP72kqf?8waF`?ofm#gLzB`BM(Ru@KRyfqW!mE8!#-"
    "w`1eFEAlc{BHbaG*CV`VL-V{Bn_b1kKEZ*Ofa0mL2v000000RRF3009C5009930RaF4000640RaF300"
)
