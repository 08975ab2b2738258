// A photo is made smaller before it leaves the telephone; without this script it has to be small.
(function () {
  "use strict";
  var EDGE_PX = 1280;
  var QUALITY = 0.82;

  function shrink(file) {
    return createImageBitmap(file).then(function (picture) {
      var scale = Math.min(1, EDGE_PX / Math.max(picture.width, picture.height));
      var canvas = document.createElement("canvas");
      canvas.width = Math.round(picture.width * scale);
      canvas.height = Math.round(picture.height * scale);
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      return new Promise(function (resolve) { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
    });
  }

  document.querySelectorAll("form[data-photo]").forEach(function (form) {
    var field = form.querySelector("input[type=file]");
    var isReady = false;
    form.addEventListener("submit", function (event) {
      if (isReady || !field.files.length || !window.createImageBitmap || !window.DataTransfer) { return; }
      event.preventDefault();
      shrink(field.files[0]).then(function (blob) {
        var carrier = new DataTransfer();
        carrier.items.add(new File([blob], "photo.jpg", { type: "image/jpeg" }));
        field.files = carrier.files;
      }).catch(function () { /* no picture: the box says so */ }).then(function () {
        isReady = true;
        form.submit();
      });
    });
  });
})();
