// The button that prints a report, and a look again while one is being written.
"use strict";
const button = document.getElementById("print");
button.hidden = false;
button.addEventListener("click", () => window.print());
if (document.getElementById("pending")) setTimeout(() => location.reload(), 2000);
