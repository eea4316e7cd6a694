// Signs in without leaving the page, so that an error keeps the place. Without scripts, the form does the same.
const form = document.getElementById("form");
const token = document.getElementById("token");
const error = document.getElementById("error");
const messages = {
  wrong_token: "The token is wrong.",
  too_many_attempts: "Too many wrong tokens. Try again in a minute.",
};

function show(code, message) {
  error.textContent = messages[code] ?? message ?? "Signing in failed.";
  token.setAttribute("aria-invalid", "true");
  token.setAttribute("aria-describedby", "error");
  token.focus();
  token.select();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.textContent = "";
  try {
    const response = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: token.value }),
    });
    if (response.ok) {
      location.replace(`./${location.hash}`);
      return;
    }
    const body = await response.json();
    show(body.error.code, body.error.message);
  } catch {
    show("", "The server cannot be reached.");
  }
});

const code = new URLSearchParams(location.search).get("error");
if (code === null) {
  token.focus();
  // After a link on another site, this page may appear although there is a session: the browser has not sent its cookie.
  fetch("api/pools").then(
    (response) => response.ok && location.replace(`./${location.hash}`),
    () => {},
  );
} else {
  show(code);
}
