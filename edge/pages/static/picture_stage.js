// The player's elements and how they share the screen: one picture large, the others beside it.
//
// Loaded before player.js. ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const IN_HAND_S = 0.5; // while a class catches up, what was fetched ahead counts
  const STALE_MS = 4000; // a picture that has not come for so long is not shown as if it did
  const LARGE_FIRST = ["slide", "document", "blackboard", "teacher", "called"];

  class PictureStage {
    constructor(container, soundLabel) {
      this.container = container;
      this.calledIsLarge = false;
      this.isPaused = false; // the teacher's picture does not come
      this.slideUrl = "";
      container.classList.add("player");
      this.frame = document.createElement("canvas"); // the last picture, between two takes
      this.frame.className = "player-picture";
      this.frame.hidden = true;
      this.slide = document.createElement("img");
      this.slide.className = "player-picture player-slide";
      this.slide.dataset.role = "slide";
      this.slide.alt = "";
      this.slide.hidden = true;
      this.button = document.createElement("button");
      this.button.type = "button";
      this.button.className = "player-unmute";
      this.button.hidden = true;
      const label = document.createElement("span");
      label.textContent = soundLabel || container.dataset.wordSound || "";
      this.button.append(label);
      container.append(this.frame, this.slide, this.button);
    }

    addPicture(role) {
      const video = document.createElement("video");
      video.className = "player-picture";
      video.dataset.role = role;
      video.muted = true; // its sound is another element's, and muted picture may always start
      video.playsInline = true;
      video.disablePictureInPicture = true;
      this.container.insertBefore(video, this.slide);
      return video;
    }

    addSound() {
      const audio = document.createElement("audio");
      const other = this.container.querySelector("audio");
      audio.className = "player-sound";
      if (other) { audio.volume = other.volume; }
      this.container.insertBefore(audio, this.slide);
      return audio;
    }

    setVolume(volume) { this.container.querySelectorAll("audio").forEach((audio) => { audio.volume = volume; }); }

    // Keeps the last picture in sight until the next take's first one is there.
    freeze(video) {
      this.frame.width = video.videoWidth;
      this.frame.height = video.videoHeight;
      this.frame.getContext("2d").drawImage(video, 0, 0);
      this.frame.hidden = false;
    }

    // Shows a picture of the lesson's materials, or none ("").
    showSlide(url) {
      if (url === this.slideUrl) { return; }
      this.slideUrl = url;
      if (url) { this.slide.src = url; }
    }

    // Without the teacher's picture the last slide is shown again.
    arrange(lanes) {
      const now = performance.now();
      const comes = (role) => {
        const lane = lanes.get(role);
        return Boolean(lane) && lane.begun && (now - lane.arrivedAt < STALE_MS || lane.inHandS() > IN_HAND_S);
      };
      this.isPaused = lanes.get("teacher").track !== null && !comes("teacher");
      const slideIsThere = this.slide.complete && this.slide.naturalWidth > 0;
      const shown = LARGE_FIRST.filter((role) => {
        if (role === "slide") { return slideIsThere && (this.slideUrl !== "" || this.isPaused); }
        return role === "teacher" || comes(role);
      });
      const large = this.calledIsLarge && comes("called") ? "called" : shown[0];
      const small = shown.filter((role) => role !== large && !(role === "teacher" && this.isPaused));
      this.container.classList.toggle("has-side", small.length > 0);
      this.place(this.frame, "teacher", large, small);
      this.container.querySelectorAll("[data-role]").forEach((element) => {
        const role = element.dataset.role;
        this.place(element, role, large, small);
        element.hidden = role !== large && !small.includes(role);
      });
    }

    place(element, role, large, small) {
      element.classList.toggle("is-large", role === large);
      element.classList.toggle("is-small", small.includes(role));
    }

    close() {
      this.container.textContent = "";
      this.container.classList.remove("player", "has-side");
    }
  }

  window.schoolnodeStage = PictureStage;
}());
