"""What onvif-python finds out of a camera by the second media service, as one line of JSON.

``client.py HOST PORT USER``, the password on standard input. It has the small picture encoded in
H.265.
"""

import json
import sys

from onvif import CacheMode, ONVIFClient


def main() -> None:
    host, port, user = sys.argv[1:]
    password = sys.stdin.read().strip()
    client = ONVIFClient(host, int(port), user, password, cache=CacheMode.NONE)
    media = client.media2()
    profiles = media.GetProfiles(Type=["All"])
    bare = media.GetProfiles()
    (encoder,) = media.GetVideoEncoderConfigurations(ProfileToken="sub")
    options = media.GetVideoEncoderConfigurationOptions(ConfigurationToken=encoder.token)
    encoder.Encoding = "H265"
    media.SetVideoEncoderConfiguration(Configuration=encoder)
    small = profiles[1].token
    (changed,) = media.GetProfiles(Token=small, Type=["VideoEncoder"])
    told = {
        "profiles": {
            profile.token: profile.Configurations.VideoEncoder.Encoding for profile in profiles
        },
        "bare": [profile.Configurations for profile in bare],
        "ptz": profiles[0].Configurations.PTZ.token,
        "streams": {
            protocol: media.GetStreamUri(Protocol=protocol, ProfileToken="main")
            for protocol in ("RTSP", "RtspUnicast")
        },
        "snapshot": media.GetSnapshotUri(ProfileToken="main"),
        "offered": [option.Encoding for option in options],
        "now": changed.Configurations.VideoEncoder.Encoding,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
