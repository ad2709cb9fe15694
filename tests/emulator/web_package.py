"""The source of a deployment package that serves HTTP and WebSocket, as packages with a model server do."""

WEB = """
import asyncio, hashlib, json, os, threading, time
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

BASE = None

async def health(request):
    return PlainTextResponse("ok", 503 if os.path.exists(os.path.join(BASE, "sick")) else 200)

async def sick(request):
    path = os.path.join(BASE, "sick")
    open(path, "w").close() if request.query_params["on"] == "1" else os.remove(path)
    return PlainTextResponse("done")

async def headers(request):
    raw = [[k.decode(), v.decode()] for k, v in request.scope["headers"]]
    shown = {"headers": raw, "path": request.scope["raw_path"].decode(), "query": request.url.query}
    return JSONResponse(shown, headers={"x-answer": "yes"})

async def upload(request):
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"sha256": digest.hexdigest(), "size": size})

class Echo:
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})

async def ticks(request):
    async def body():
        for i in range(int(request.query_params.get("n", 3))):
            yield f"data: {i}\\n\\n"
            await asyncio.sleep(float(request.query_params.get("every", 0.2)))
    return StreamingResponse(body(), media_type="text/event-stream")

async def broken(request):
    async def body():
        yield b"half"
        raise RuntimeError("broken off")
    return StreamingResponse(body(), headers={"content-length": "1000"})

LEFT = []

async def endless(request):
    async def body():
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.02)
        finally:
            LEFT.append(1)
    return StreamingResponse(body())

async def left(request):
    return JSONResponse(len(LEFT))

async def wait(request):
    await asyncio.sleep(float(request.query_params["s"]))
    return PlainTextResponse("waited")

async def pid(request):
    return PlainTextResponse(str(os.getpid()))

async def crash(request):
    os._exit(7)

async def talk(websocket):
    await websocket.accept(subprotocol=(websocket.scope["subprotocols"] or [None])[0])
    async for text in websocket.iter_text():
        if text == "bye":
            await websocket.close(4001, "bye")
            return
        await websocket.send_text("you said " + text)

NAMES = [health, sick, headers, upload, ticks, broken, endless, left, wait, pid, crash]
ROUTES = [Route("/" + f.__name__, f, methods=["GET", "POST", "PUT"]) for f in NAMES]
ROUTES += [Route("/echo", Echo()), Route("/headers/{rest:path}", headers), WebSocketRoute("/talk", talk)]

class Deployment:
    def __init__(self, base_directory, context):
        global BASE
        BASE = base_directory
        port = int(os.environ["WHISPERCTL_PORT"])
        config = uvicorn.Config(Starlette(routes=ROUTES), host="127.0.0.1", port=port, log_level="warning")
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.01)

    def request(self, data):
        if data == "crash":
            os._exit(7)
        return os.getpid()
"""
