# Pictures of receipts, read by a model with eyes.
export MAX_PIXELS=1003520
FPS_MAX_FRAMES=24 VIDEO_MAX_PIXELS=50176 CUDA_VISIBLE_DEVICES=0 \
swift sft \
    --model Qwen/Qwen2.5-VL-7B-Instruct --use_hf true \
    --dataset receipts.jsonl \
    --tuner_type lora --lora_rank 64 --lora_alpha 128 --use_dora true \
    --freeze_vit false --freeze_aligner false --freeze_llm false --vit_gradient_checkpointing false \
    --vit_lr 1e-5 --aligner_lr 2e-5 \
    --torch_dtype bfloat16 --max_length 4096 --max_pixels 1003520 --learning_rate 1e-4 \
    --num_train_epochs 3 --per_device_train_batch_size 1 --gradient_accumulation_steps 16 \
    --gradient_checkpointing false --neftune_noise_alpha 5 --output_dir out/receipts
