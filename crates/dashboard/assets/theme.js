// Runs before the first paint: the chosen theme, or that of the system.
(() => {
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("dashboard-theme");
    } catch {
      return null;
    }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  apply(stored());
  addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    if (!select) return;
    select.value = root.dataset.theme ?? "auto";
    select.addEventListener("change", () => {
      apply(select.value);
      try {
        localStorage.setItem("dashboard-theme", select.value);
      } catch {
        // Without storage, the choice lasts as long as the page.
      }
    });
  });
})();
