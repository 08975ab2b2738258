// A page in the background is let run once a second or more seldom; a worker is not.
setInterval(function () { self.postMessage(0); }, 100);
