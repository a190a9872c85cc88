"use strict";
const form = document.getElementById("try"), answer = document.getElementById("answer"), button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  answer.className = "box";
  answer.setAttribute("aria-busy", "true");
  const streams = "streams" in form.dataset;
  try {
    const response = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: streams ? "text/event-stream" : "text/html" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    if (!response.ok) throw new Error((await response.json()).detail);
    if (streams) await follow(response.body);
    else answer.innerHTML = await response.text();  // escaped by the server's template
  } catch (error) {
    answer.classList.add("failed");
    answer.textContent = error.message;
  } finally {
    button.disabled = false;
    answer.removeAttribute("aria-busy");
  }
});

async function follow(body) {
  answer.classList.add("stream");
  answer.textContent = "";
  let waiting = "";
  for await (const part of body.pipeThrough(new TextDecoderStream())) {
    const events = (waiting + part).split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (.*)\ndata: (.*)$/);
      const value = JSON.parse(data);
      if (name === "error") throw new Error(value.detail);
      if (name === "row") answer.textContent = value.predicted;
      else answer.textContent += value.text;
    }
  }
}

form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
