// What the npm package "onvif" finds out of a camera and does with it, as one line of JSON.
"use strict";
const { Cam } = require("onvif");
const [hostname, port, username] = process.argv.slice(2);
const password = require("fs").readFileSync(0, "utf8").trim();

function ask(cam, name, ...given) {
  return new Promise((resolve, reject) => {
    cam[name](...given, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function listen(cam) {
  return new Promise((resolve) => {
    cam.on("event", (message) => resolve(message.topic._));
  });
}

async function main() {
  const cam = await new Promise((resolve, reject) => {
    const made = new Cam({ hostname, port: Number(port), username, password, timeout: 10000 },
      (error) => (error ? reject(error) : resolve(made)));
  });
  const information = await ask(cam, "getDeviceInformation");
  const stream = await ask(cam, "getStreamUri", { protocol: "RTSP" });
  const presets = await ask(cam, "getPresets", {});
  await ask(cam, "continuousMove", { x: 0.5, y: 0, zoom: 0, timeout: 2000 });
  const moving = await ask(cam, "getStatus", {});
  await ask(cam, "stop", { panTilt: true, zoom: true });
  await ask(cam, "gotoPreset", { preset: Object.values(presets)[0].$.token });
  const imaging = await ask(cam, "getImagingSettings", {});
  const topic = await listen(cam);
  console.log(JSON.stringify({
    serial: String(information.serialNumber),
    stream: stream.uri,
    presets: Object.keys(presets),
    moving: moving.moveStatus.panTilt,
    brightness: imaging.brightness,
    topic,
  }));
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
