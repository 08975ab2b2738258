// Reads a playlist from standard input by hls-parser, strictly, and writes what it found as JSON.
"use strict";
const HLS = require("hls-parser");

HLS.setOptions({ strictMode: true });
const text = require("fs").readFileSync(0, "utf8");
const found = HLS.parse(text);
const counted = found.isMasterPlaylist
  ? { variants: found.variants.length, sound: found.variants[0].audio.length }
  : {
    segments: found.segments.filter((one) => one.uri).length,
    gaps: found.segments.filter((one) => one.gap).length,
    parts: found.segments.reduce((sum, one) => sum + (one.parts || []).length, 0),
    partTarget: found.partTargetDuration || 0,
    blocks: Boolean(found.lowLatencyCompatibility && found.lowLatencyCompatibility.canBlockReload),
    seconds: found.segments.reduce((sum, one) => sum + (one.duration || 0), 0),
    ended: found.endlist,
  };
process.stdout.write(JSON.stringify(counted));
