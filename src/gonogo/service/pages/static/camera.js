// A camera of this device, in a dialog. On phones, and without this script, the form opens the system's own camera.
"use strict";

const camera = { view: byId("camera-view"), film: byId("film"), which: byId("camera-which"), stream: null };

if (navigator.mediaDevices && matchMedia("(pointer: fine)").matches) {
  byId("take").addEventListener("click", (event) => {
    event.preventDefault();
    camera.view.showModal();
    film();
  });
}

async function film(device) {
  stopFilm();
  byId("camera-none").hidden = true;
  const wanted = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { ...wanted, width: { ideal: 4096 }, height: { ideal: 4096 } } });
  } catch {
    byId("camera-none").hidden = false;
    return;
  }
  camera.stream = stream;
  if (!camera.view.open) return stopFilm(); // closed while the browser asked the person
  camera.film.srcObject = stream;
  await camera.film.play();
  byId("camera-take").disabled = false;
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
  const current = stream.getVideoTracks()[0].getSettings().deviceId;
  camera.which.replaceChildren(...cameras.map((each) => new Option(each.label, each.deviceId, false, each.deviceId === current)));
  camera.which.hidden = cameras.length < 2;
}

function stopFilm() {
  if (camera.stream) camera.stream.getTracks().forEach((track) => track.stop());
  camera.stream = null;
  camera.film.srcObject = null;
  byId("camera-take").disabled = true;
}

function takePicture() {
  const canvas = document.createElement("canvas");
  canvas.width = camera.film.videoWidth;
  canvas.height = camera.film.videoHeight;
  canvas.getContext("2d").drawImage(camera.film, 0, 0);
  const name = `camera ${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`;
  canvas.toBlob((data) => { // without loss, since what a codec adds would be scored too
    camera.view.close();
    sendFiles([new File([data], name, { type: "image/png" })]);
  }, "image/png");
}

camera.view.addEventListener("close", stopFilm);
camera.which.addEventListener("change", () => film(camera.which.value));
byId("camera-take").addEventListener("click", takePicture);
byId("camera-close").addEventListener("click", () => camera.view.close());
