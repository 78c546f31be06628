// Browsers start no worker from a file. The search of a site that is read from a folder then runs in a hidden
// frame, which is handed the messages of a worker.
if (location.protocol === "file:") {
  window.Worker = window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inner = this.frame.contentWindow
      inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = inner.document.createElement("script")
      script.src = new URL(url, location)
      this.ready = new Promise(done => script.addEventListener("load", done))
      inner.document.head.append(script)
    }

    postMessage(data) {
      const send = () => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
      this.ready.then(send)
    }

    terminate() {
      this.frame.remove()
    }
  }
}
